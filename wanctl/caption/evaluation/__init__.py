"""`wanctl data caption-eval`: how well a captioner sees, by labels and by changed clips."""
