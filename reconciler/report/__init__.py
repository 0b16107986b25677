"""Values → what people and programs read. Pure: it says what plans, outcomes, records and diagnostics hold.

Text goes to a terminal or into markdown: what came from a file or from the platform is made harmless here.
"""
