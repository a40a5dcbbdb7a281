-- What a message says that is about no request: JSON of codes and ids. NULL: its notices are what it says.
ALTER TABLE messages ADD COLUMN announces TEXT;
