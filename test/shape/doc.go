// Shape records what an eavesdropper sees of wallets behind the proxy, and attacks the recording.
package main
