-- Whatever the database's default is: a snapshot of the whole transaction would be older than the lanes' locks.
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE
