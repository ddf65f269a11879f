ALTER TABLE dept_emp ADD INDEX tandem_members (dept_no, to_date), ALGORITHM=INPLACE, LOCK=NONE
