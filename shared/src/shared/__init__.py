"""Waybill's language (events) and plumbing; knows no service and no business rule of one."""
