"""Whether streams of daily numbers still behave as their past says; the user sets the rate of false alarms."""
