package proxy

// Redact exports redact for tests that need package hints, which imports this package.
var Redact = redact
