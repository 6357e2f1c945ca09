FROM localhost:5000/x/y:z
