ALTER TABLE employees ADD INDEX tandem_birth_date (birth_date), ALGORITHM=INPLACE, LOCK=NONE
