"""Fair-value models: the rolling-mean baseline and the forecast."""
