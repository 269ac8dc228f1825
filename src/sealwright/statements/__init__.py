"""What people sign and how it is checked: statements, SSH signatures, roster, quorum, orders, receipts."""
