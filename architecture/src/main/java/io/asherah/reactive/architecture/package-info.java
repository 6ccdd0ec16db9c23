/** What holds over all modules, and the proof that a breach would be noticed. */
@NullMarked
package io.asherah.reactive.architecture;

import org.jspecify.annotations.NullMarked;
