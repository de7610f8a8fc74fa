// SPDX-License-Identifier: Apache-2.0

// Command streamclient speaks to the URLs of Exec, Attach and PortForward with
// the code that kubectl speaks with, for tests of the server behind them.
//
//	streamclient exec|attach --url URL [--protocol spdy|websocket|websocket-v5] [--stdin] [--stdout] [--stderr] [--tty] ...
//	streamclient forward --url URL [--protocol spdy|websocket-tunnel] [--address IP] LOCAL:REMOTE...
//
// The process's own standard streams are the streams, and its exit code is the
// command's where the server tells one; any other error is code 250.
//
// It is a module apart, so that the daemon's module never requires client-go.
package main
