"""Services: what training asks for from outside the loop, behind protocols."""
