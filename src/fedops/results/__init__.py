"""What runs came to: mean and spread over several, and all of it as files that anybody reads."""
