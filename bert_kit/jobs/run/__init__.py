"""The one training job, what it is built of, and what every predictor shares."""
