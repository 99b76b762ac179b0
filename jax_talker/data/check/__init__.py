"""What is wrong with a clip. In: a clip folder. Out: findings, a contact sheet and a report for people."""
