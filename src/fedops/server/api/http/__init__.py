"""What every route needs: authentication, bodies with limits, errors, files, the reference page."""
