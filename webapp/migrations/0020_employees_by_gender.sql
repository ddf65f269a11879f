ALTER TABLE employees ADD INDEX tandem_gender (gender), ALGORITHM=INPLACE, LOCK=NONE
