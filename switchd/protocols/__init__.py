"""The protocols that come with switchd, written as a third party would write them: upon `switchd.interfaces` alone."""
