ALTER TABLE employees ADD INDEX tandem_name (first_name, last_name), ALGORITHM=INPLACE, LOCK=NONE
