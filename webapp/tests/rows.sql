-- The challenge's nine, in an order that is not theirs.
INSERT INTO employees VALUES
    (74344, '1965-02-01', 'Hiroyasu', 'Provine', 'M', '1994-11-25'),
    (80850, '1965-02-01', 'Koldo', 'Luit', 'M', '1993-11-19'),
    (223595, '1965-02-01', 'Chiranjit', 'Dredge', 'M', '1994-11-10'),
    (235729, '1965-02-01', 'Henk', 'Anger', 'M', '1993-01-19'),
    (248758, '1965-02-01', 'Snehasis', 'Muhlberg', 'M', '1991-07-16'),
    (270794, '1965-02-01', 'Dannz', 'Zhang', 'M', '1990-10-24'),
    (284045, '1965-02-01', 'Fun', 'Seiwald', 'M', '1994-06-24'),
    (424584, '1965-02-01', 'Kagan', 'Dredge', 'M', '1994-02-26'),
    (433260, '1965-02-01', 'Make', 'Olivero', 'M', '1991-06-01');
-- Who differs from them in one way each: gender, hire date, birth date.
INSERT INTO employees VALUES
    (20001, '1965-02-01', 'Alma', 'Zimmer', 'F', '1992-01-01'),
    (20002, '1965-02-01', 'Bert', 'Young', 'M', '1990-01-01'),
    (20003, '1965-02-02', 'Alma', 'Xu', 'F', '1993-01-01'),
    (20004, '1964-02-01', 'Carl', 'Weber', 'M', '1989-12-31'),
    (20005, '1970-06-15', 'Dora', 'O''Neil', 'F', '1999-12-31');
INSERT INTO departments VALUES ('d001', 'Marketing & Söhne'), ('d002', 'Finance'), ('d003', 'Empty');
INSERT INTO dept_emp VALUES
    (20001, 'd001', '1992-01-01', '9999-01-01'),
    (20002, 'd001', '1990-01-01', '1995-01-01'),
    (20003, 'd002', '1993-01-01', '9999-01-01'),
    (20004, 'd001', '1989-12-31', '9999-01-01');
INSERT INTO dept_manager VALUES
    (20001, 'd001', '1995-01-01', '9999-01-01'),
    (20002, 'd001', '1990-01-01', '1995-01-01');
INSERT INTO titles VALUES
    (20001, 'Staff', '1992-01-01', '1993-01-01'),
    (20001, 'Engineer', '1993-01-01', '9999-01-01'),
    (20001, 'Manager', '1995-01-01', '9999-01-01'),
    (20002, 'Engineer', '1990-01-01', '1995-01-01'),
    (20003, 'Engineer', '1993-01-01', NULL),
    (20004, 'Senior Staff', '1989-12-31', '9999-01-01');
INSERT INTO salaries VALUES
    (20001, 60000, '1992-01-01', '1993-01-01'),
    (20001, 62000, '1993-01-01', '9999-01-01');
