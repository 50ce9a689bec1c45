"""Pictures of the dashboards without a Grafana: a Prometheus' answers, drawn panel by panel."""
