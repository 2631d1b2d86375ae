# rwkvlab_options: the compiler settings every target of the project shares.
add_library(rwkvlab_options INTERFACE)
target_compile_options(rwkvlab_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  $<$<BOOL:${RWKVLAB_WERROR}>:-Werror>
  # GCC 12 sees overlapping copies in ordinary "text" + string (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # Neither changes a computed value; both let loops vectorise.
  -fno-math-errno -fno-trapping-math)
target_compile_definitions(rwkvlab_options INTERFACE
  EIGEN_DONT_PARALLELIZE
  $<$<BOOL:${RWKVLAB_DEBUG_FILL}>:RWKVLAB_DEBUG_FILL>)
if(RWKVLAB_SANITIZE)
  # Null and wrongly sized objects are what the address sanitizer finds anyway; checking them twice doubles the build.
  set(instrumented -fsanitize=${RWKVLAB_SANITIZE} -fno-sanitize-recover=all -fno-sanitize=null,object-size,vptr)
  target_compile_options(rwkvlab_options INTERFACE
    -fno-omit-frame-pointer
    # A target that only calls the library (a test) may leave itself out: its build takes half the time.
    "$<$<NOT:$<BOOL:$<TARGET_PROPERTY:RWKVLAB_UNINSTRUMENTED>>>:${instrumented}>"
    # GCC 12 warns falsely about std::function and std::optional in instrumented code.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(rwkvlab_options INTERFACE -fsanitize=${RWKVLAB_SANITIZE})
  # Function multi-versioning resolves symbols before the sanitizer runtime starts.
  target_compile_definitions(rwkvlab_options INTERFACE RWKVLAB_NO_CLONES)
endif()
