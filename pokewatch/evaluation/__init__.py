"""How good a forecast is: scores, back-test, the gate, and the models that passed it."""
