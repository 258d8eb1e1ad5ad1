"""What knows neither images nor models: errors, settings, whole-or-nothing files, user functions by name."""
