-- SPDX-License-Identifier: BSD-2-Clause
-- SPDX-FileCopyrightText: the objmapper authors
-- Articles, and which pages are out of date since somebody changed one.  The triggers write the outbox in the same
-- transaction as the change itself: a change that is rolled back leaves no trace, one that is committed is never lost.
CREATE TABLE article (
    id      INT PRIMARY KEY,
    title   VARCHAR(200) NOT NULL,
    body    TEXT NOT NULL,
    version INT NOT NULL DEFAULT 1
);
CREATE TABLE outbox (
    id   BIGINT PRIMARY KEY AUTO_INCREMENT,
    path VARCHAR(200) NOT NULL
);
CREATE TRIGGER article_insert AFTER INSERT ON article FOR EACH ROW
    INSERT INTO outbox (path) VALUES (CONCAT('/article/', NEW.id));
CREATE TRIGGER article_update AFTER UPDATE ON article FOR EACH ROW
    INSERT INTO outbox (path) VALUES (CONCAT('/article/', NEW.id));
CREATE TRIGGER article_delete AFTER DELETE ON article FOR EACH ROW
    INSERT INTO outbox (path) VALUES (CONCAT('/article/', OLD.id));
