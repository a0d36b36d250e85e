"""Child processes: started clean, tied to their parent, ended as whole trees, noted in files."""
