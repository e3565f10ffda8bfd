"""The whole of Waybill on one machine without Docker: PostgreSQL, Kafka, the four services, demo data.

Run as `python -m deploy.devstack <up|down|status|logs|reset|demo>` from the root of the checkout.
"""
