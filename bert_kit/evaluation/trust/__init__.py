"""How far scores can be trusted: calibration, resampling, baselines, mistakes."""
