"""How the head is held. In: landmarks. Out: EG3D camera labels, steadied in time, and the crop that belongs to them."""
