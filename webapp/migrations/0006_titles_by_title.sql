ALTER TABLE titles ADD INDEX tandem_title (title, to_date), ALGORITHM=INPLACE, LOCK=NONE
