"""What a search found, as one HTML page and a few pictures.

    from archspec.search.report import write

    write(record, folder, winner=spec, reference=archspec.load("smlpnet_t"))

Importing it is cheap: what draws is loaded by the first call.
"""

from archspec.search.report.page import write, write_report
from archspec.search.report.results import summary

__all__ = ["summary", "write", "write_report"]
