// SPDX-License-Identifier: Apache-2.0

// Package streaming is the HTTP server behind the URLs of exec, attach and
// port-forward, by which a client's bytes go to and fro past CRI.
//
// It owns the URLs with their one-time tokens, the certificates, the life of
// each session from its upgrade to its last goroutine, and the drain at the
// end. The protocols on the wire are those of k8s.io/cri-streaming, and two newer
// ones for WebSockets: version 5 for exec and attach, SPDY in a tunnel. That
// module's own server is not used: it brings a REST framework, its tokens have
// 48 bits, and the contexts of its sessions do not end when a client goes.
//
// Those protocol packages trust a client to come with the streams it announced,
// to read, and to leave in order. What stands between them and the network makes
// it so: type peer for every connection, type frames for SPDY.
//
// It leaves what a session does to the Backend: which container, how, and when
// it is over. Package cmd may import it. It imports neither Docker's types nor
// any other package of this module; adapter implements Backend without
// importing it.
package streaming
