"""What operators measure: what each metric is, how runs add up, how Prometheus gets to know."""
