"""A self-contained page that shows an audit, and one that sets several side by side; from files, without torch."""

from expunge.report.page import write_comparison, write_comparison_drawings, write_report, write_report_drawings
from expunge.report.pdf import find_browser, write_pdf
from expunge.report.view import find_audit

__all__ = [
    "find_audit",
    "find_browser",
    "write_comparison",
    "write_comparison_drawings",
    "write_pdf",
    "write_report",
    "write_report_drawings",
]
