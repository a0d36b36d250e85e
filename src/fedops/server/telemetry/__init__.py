"""What devices and engines report: logs, metrics, samples, explanations."""
