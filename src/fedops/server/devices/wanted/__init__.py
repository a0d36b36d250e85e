"""What the server wants of devices: enrolment, tasks, runs, and the code that they are to run."""
