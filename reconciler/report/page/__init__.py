"""A report as one HTML page that needs nothing else: no script, no picture, no other file, no connection.

All markup is made by `markup.element`, which escapes whatever is not markup already.
"""

from reconciler.report.page.page import report_page
from reconciler.report.page.report import Report

__all__ = ["Report", "report_page"]
