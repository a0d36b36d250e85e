"""What every page is served with: sessions, templates, assets, forms and answers."""
