"""Commands for people who work on xcs-airflow; not part of the package."""
