"""Speech: wave files, a synthesizer's words, log-mel frames."""
