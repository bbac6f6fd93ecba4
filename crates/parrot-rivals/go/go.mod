module parrot/rivals/echo

go 1.19
