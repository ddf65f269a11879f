ALTER TABLE employees ADD INDEX tandem_last_name (last_name, first_name), ALGORITHM=INPLACE, LOCK=NONE
