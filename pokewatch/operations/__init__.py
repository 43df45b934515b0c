"""Operations: the night's steps, MLflow and ZenML, exports, status and the doctor."""
