"""What an explanation is worth: faithfulness, stability, drift from round to round."""
