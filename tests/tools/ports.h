/*
 * ports.h - ports for a suite that no other test takes: what ports.py does, for tests in C.
 */
#ifndef WEIR_TESTS_TOOLS_PORTS_H
#define WEIR_TESTS_TOOLS_PORTS_H

/* A port base below the ports that the kernel gives out, all of whose ports (gRPC from +70, JSON
 * +80, admin from +90) are free and reserved until this process ends, by the same locked files as
 * in ports.py.  Fails the test when there is none. */
int ports_free_base(void);

#endif
