"""A study on a small benchmark that says whether the method has become worse."""
