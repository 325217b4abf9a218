"""What result files say: tables for terminals and pages, charts, reports."""
