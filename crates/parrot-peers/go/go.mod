module parrot/peers/echo

go 1.19
