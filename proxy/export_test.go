package proxy

// Redact is redact, for tests that need package hints, which imports this one.
var Redact = redact
