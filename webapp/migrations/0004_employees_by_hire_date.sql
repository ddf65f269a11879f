ALTER TABLE employees ADD INDEX tandem_hire_date (hire_date), ALGORITHM=INPLACE, LOCK=NONE
