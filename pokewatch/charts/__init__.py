"""Every chart once, for notebook, report and MLflow: frames in, Axes out."""
